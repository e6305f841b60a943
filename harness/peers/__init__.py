"""What the benchmark times: the library beside straightforward versions of the same work."""
