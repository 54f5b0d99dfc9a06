"""Where history is kept: the one door for facts, the payload codec, and the databases behind them."""
