"""otpsvc: a self-hosted OTP verification service.

Imports run strictly downwards (import-linter holds it, see `pyproject.toml`):

7  app, ways, loading, serving, cli, demo   where parts meet; the commands
6  http/  channels/  feeders/  stores/      the folders touch the world
5  gsm/                                     a library of its own
4  verify, creation, dispatch, guessing, refusal  the verbs of verification
3  deliver, attempt, pending, outcome, letter    one message by one route
2  channel, store, config/, render, template, keyring_file, logs, metrics    what one is
1  challenge, code, keyring, message, tenant, address, request, view, token, credential, hashpool
0  errors                                   every error
"""

__version__ = "0.1.0"
