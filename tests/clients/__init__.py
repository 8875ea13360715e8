"""Other people's clients and servers, with the proxy between them: nothing they can see may change."""
