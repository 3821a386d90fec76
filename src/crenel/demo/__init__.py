"""The demo: two real models on data that ships inside installed packages, written as files."""
