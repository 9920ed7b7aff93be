SELECT pg_catalog.pg_encoding_to_char(d.encoding) = 'UTF8' FROM pg_catalog.pg_database AS d WHERE d.datname = 'template0'
