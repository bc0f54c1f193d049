"""From TFRecords to a trained LSTM classifier and a SavedModel that takes raw text."""
