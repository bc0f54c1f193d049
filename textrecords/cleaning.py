"""What texts are cleaned of, for all that cleans them: regular expressions of RE2 and others."""

LINE_BREAK = "<br />"  # which becomes a space
LINE_END = r"\r\n?|\n"
# Keras' `lower_and_strip_punctuation`: every ASCII character that is punctuation.
PUNCTUATION = r"[!-/:-@\[-`{-~]"
