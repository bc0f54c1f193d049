"""Verifies that Keras, the records, tf.data and the SavedModel agree on every token."""
