"""otpsvc: a self-hosted OTP verification service.

Imports run strictly downwards (import-linter holds it, see `pyproject.toml`):

7  app, __main__, cli        where parts meet; the commands
6  http/  channels/  feeders/  stores/    the folders touch the world
5  gsm/                      a library of its own
4  verify  relay             the verbs
3  deliver                   one message by one route
2  channel  feeder  store  config  render    what one is
1  challenge  code  keyring  message  command  tenant  address  guard  event    records and rules
0  errors                    every error
"""

__version__ = "0.1.0"
