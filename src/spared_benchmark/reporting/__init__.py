"""Tables, figures and the report, made only from tidy score tables and AnnData objects."""
