"""Numbers to and from what people read and hear: vocabularies of texts, WAV files and the mu-law."""
