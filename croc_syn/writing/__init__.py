"""Writing: specs → prompt pairs by language models, asked, checked and asked again."""
