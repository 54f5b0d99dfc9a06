"""Measures vbl on this machine, each row beside bare apsw or a bare import in the same run.

Every measurement has a process of its own (`child`); a figure is the median of rounds in which vbl and what it is
compared with take turns, since machines are noisy. What is reported never fails anything: it is a report. What vbl
promises about speed lives in the bars of `rows`; how it is shown lives in vbl.cli.bench.
"""
