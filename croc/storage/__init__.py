"""Files that are complete or absent: atomic writes, checksums, Parquet with images, the client of services.

In: bytes, JSON values, rows; addresses of services that speak the OpenAI API.
Out: files on disk, their checksums, and answers of services.
"""
