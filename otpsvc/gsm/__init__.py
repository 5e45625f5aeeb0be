"""A library for GSM modems on serial ports: it knows no tenant, no code and no store.

port ─> framer ─> at (one transaction at a time) ─> modem (its states) ─> pool (who sends)

`pool.Pool` is what a program uses. Texts, numbers and PINs never reach a log: a line
that is logged or traced was redacted by `trace` after framing.
"""
