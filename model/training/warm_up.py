"""Writes a warmup request, which TensorFlow Serving runs before it serves a model.

See https://www.tensorflow.org/tfx/serving/saved_model_warmup. The messages are defined here, since
the package `tensorflow-serving-api` would constrain the versions of other packages.
"""

import os

import tensorflow as tf
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message,
    message_factory,
    text_format,
)

from textrecords import checksums, spec, storage

TEXT = "what a great movie"
# The fields that a request needs of the messages in tensorflow_serving/apis, with the same numbers;
# on the wire a map is a list of keys and values, and a tensor is bytes.
MESSAGES = """
name: "warm_up.proto"
package: "textrecords"
message_type {
  name: "PredictionLog"
  field { name: "predict_log" number: 6 type_name: "PredictLog" type: TYPE_MESSAGE }
}
message_type {
  name: "PredictLog"
  field { name: "request" number: 1 type_name: "PredictRequest" type: TYPE_MESSAGE }
}
message_type {
  name: "PredictRequest"
  field { name: "model_spec" number: 1 type_name: "ModelSpec" type: TYPE_MESSAGE }
  field { name: "inputs" number: 2 type_name: "Input" type: TYPE_MESSAGE label: LABEL_REPEATED }
}
message_type {
  name: "ModelSpec"
  field { name: "signature_name" number: 3 type: TYPE_STRING }
}
message_type {
  name: "Input"
  field { name: "key" number: 1 type: TYPE_STRING }
  field { name: "value" number: 2 type: TYPE_BYTES }
}
"""


def write(saved_model: str) -> None:
    """Writes a request for the score of a text into the folder of a SavedModel."""
    path = os.path.join(saved_model, checksums.WARM_UP)
    storage.make_folder(os.path.dirname(path))
    with tf.io.TFRecordWriter(path) as writer:
        writer.write(_request().SerializeToString())


def _request() -> message.Message:
    file = text_format.Parse(MESSAGES, descriptor_pb2.FileDescriptorProto())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    of = pool.FindMessageTypeByName(f"{file.package}.PredictionLog")
    log = message_factory.GetMessageClass(of)()
    request = log.predict_log.request
    request.model_spec.signature_name = "serving_default"
    value = tf.make_tensor_proto([TEXT]).SerializeToString()
    request.inputs.add(key=spec.TEXT, value=value)
    return log
