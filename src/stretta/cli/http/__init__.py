"""The commands http client, http server and http password."""
