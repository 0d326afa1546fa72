"""OnnxFramework keeps what every framework promises."""

import onnx_zoo

from edgepart.frameworks.onnx import OnnxFramework
from edgepart.testing.frameworks import FrameworkContract


class _Onnx(FrameworkContract):
    #: ONNX Runtime fuses another way in a part than in the whole
    tolerance = 1e-5
    name = ""
    length = None

    def framework(self):
        return OnnxFramework()

    def network(self):
        return onnx_zoo.NETWORKS[self.name]()

    def inputs(self, batch):
        return onnx_zoo.draw(self.network(), batch, self.length)

    def answers(self, network, inputs):
        return onnx_zoo.expected(self.name, network, inputs)


class TestOnnxConvolutions(_Onnx):
    name = "residual"


class TestOnnxTransformer(_Onnx):
    name = "transformer"
    length = 6


class TestOnnxMadeForOne(_Onnx):
    name = "made_for_one"
