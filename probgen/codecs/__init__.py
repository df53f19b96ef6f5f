"""Conversions between numbers and texts, sounds and images: vocabularies, WAV files, the mu-law, luma."""
