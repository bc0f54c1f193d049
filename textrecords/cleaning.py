"""Regular expressions for cleaning texts, valid in RE2 and in other engines."""

LINE_BREAK = "<br />"  # becomes a space
LINE_END = r"\r\n?|\n"
# Keras' `lower_and_strip_punctuation`: all ASCII punctuation.
PUNCTUATION = r"[!-/:-@\[-`{-~]"
