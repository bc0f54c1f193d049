"""From a folder of text files to TFRecords, a vocabulary and a transform graph."""
