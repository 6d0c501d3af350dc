"""The command line: parses, calls one pipeline, renders; decides nothing itself."""
