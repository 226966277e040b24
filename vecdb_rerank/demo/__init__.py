"""The demo: a handbook with judged questions, searched without a server or a network."""
