//! Builder of plans, with shape inference.

use super::{Origin, Plan, PlanError, Step, Tensor, TensorId};
use crate::kernels::{
    Activation, Axis, BatchNorm, BatchStats, ClipStats, Concat, Conv2d, Dense, Gru, LastState, LogMel,
    MaxPool2d, MeanPool2d, Normalize, NormalizeChannels, Op, Operation, PadTime, ShapeError,
};
use crate::tensor::{DType, HostTensor, Shape};

/// Weights of a convolution block; see [`Builder::conv_block`].
#[derive(Clone, Debug)]
pub struct ConvBlock {
    /// `[O, C, 3, 3]`.
    pub kernel: HostTensor,
    /// `[O]`.
    pub bias: HostTensor,
    /// Scale and shift of the batch normalisation, `[O]` each.
    pub norm: [HostTensor; 2],
    /// Max-pool window along frequency and time.
    pub pool: [usize; 2],
}

/// Weights of a GRU layer, gates in the order z, r, h; see [`Builder::gru`] and [`Gru`].
#[derive(Clone, Debug)]
pub struct GruWeights {
    /// `[D, 3 U]`.
    pub input: HostTensor,
    /// `[3 U]`.
    pub bias: HostTensor,
    /// `[U, 3 U]`.
    pub recurrent: HostTensor,
    /// Recurrent bias of gate h, `[U]`, of the form with the reset gate after the product. Those of z and r are part of
    /// `bias`.
    pub recurrent_bias: Option<HostTensor>,
}

/// Builder of a [`Plan`].
#[derive(Debug, Default)]
pub struct Builder {
    plan: Plan,
}

impl Builder {
    /// Starts an empty plan.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Goes on after the steps of `plan`, which must not be fused.
    pub fn after(plan: Plan) -> Builder {
        Builder { plan }
    }

    /// Tensor of the output called `name`.
    pub fn output_tensor(&self, name: &str) -> Option<TensorId> {
        self.plan.outputs.iter().find(|(output, _)| output == name).map(|(_, id)| *id)
    }

    /// Returns the plan.
    pub fn finish(self) -> Plan {
        self.plan
    }

    /// Adds an input tensor of `shape`, batch outermost.
    pub fn input(&mut self, name: &str, shape: impl Into<Shape>) -> TensorId {
        let origin = Origin::Input(self.plan.inputs.len());
        let id = self.add(name, shape.into(), DType::F32, origin);
        self.plan.inputs.push(id);
        id
    }

    /// Makes `tensor` an output called `name`.
    pub fn output(&mut self, name: &str, tensor: TensorId) {
        self.plan.outputs.push((name.to_string(), tensor));
    }

    /// Shape of a tensor.
    pub fn shape(&self, tensor: TensorId) -> Shape {
        self.plan.tensors[tensor].shape
    }

    /// Adds one step of any op.
    ///
    /// # Errors
    /// [`PlanError::Shape`] if the op does not accept these tensors.
    pub fn step(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[TensorId],
        weights: Vec<HostTensor>,
    ) -> Result<TensorId, PlanError> {
        let shapes: Vec<Shape> = inputs.iter().map(|&id| self.shape(id)).collect();
        let weight_shapes: Vec<Shape> = weights.iter().map(HostTensor::shape).collect();
        let shape = op
            .output_shape(&shapes, &weight_shapes)
            .map_err(|source| PlanError::Shape { step: name.to_string(), source })?;
        let dtypes: Vec<DType> = inputs.iter().map(|&id| self.plan.tensors[id].dtype).collect();
        let dtype = op.output_dtype(&dtypes, DType::F32);
        let weights = weights.into_iter().map(|weight| self.plan.add_weight(name, weight)).collect();
        let output = self.add(name, shape, dtype, Origin::Step);
        self.plan.steps.push(Step { name: name.to_string(), op, inputs: inputs.to_vec(), weights, output });
        Ok(output)
    }

    /// `[N, S]` samples to `[N, 1, M, T]` dB; window `[512]`, filters `[M, 257]`.
    ///
    /// # Errors
    /// [`PlanError::Shape`].
    pub fn log_mel(
        &mut self,
        name: &str,
        x: TensorId,
        op: LogMel,
        window: HostTensor,
        filters: HostTensor,
    ) -> Result<TensorId, PlanError> {
        self.step(name, Op::LogMel(op), &[x], vec![window, filters])
    }

    /// `[N, 1, F, T]` dB to `[N, 3]`: maximum, mean, deviation.
    ///
    /// # Errors
    /// [`PlanError::Shape`].
    pub fn clip_stats(&mut self, name: &str, x: TensorId, op: ClipStats) -> Result<TensorId, PlanError> {
        self.step(name, Op::ClipStats(op), &[x], Vec::new())
    }

    /// `[N, 1, F, T]` dB, floored and normalised by its `stats`.
    ///
    /// # Errors
    /// [`PlanError::Shape`].
    pub fn normalize(
        &mut self,
        name: &str,
        x: TensorId,
        stats: TensorId,
        op: Normalize,
    ) -> Result<TensorId, PlanError> {
        self.step(name, Op::Normalize(op), &[x, stats], Vec::new())
    }

    /// `[N, C, F, T]` to `[N, C, F, left + T + right]`.
    ///
    /// # Errors
    /// [`PlanError::Shape`].
    pub fn pad_time(&mut self, name: &str, x: TensorId, pad: [usize; 2]) -> Result<TensorId, PlanError> {
        self.step(name, Op::PadTime(PadTime { left: pad[0], right: pad[1] }), &[x], Vec::new())
    }

    /// `x * scale + shift` along `axis`.
    ///
    /// # Errors
    /// [`PlanError::Shape`].
    pub fn batch_norm(
        &mut self,
        name: &str,
        x: TensorId,
        axis: Axis,
        norm: [HostTensor; 2],
    ) -> Result<TensorId, PlanError> {
        self.step(name, Op::BatchNorm(BatchNorm { axis }), &[x], norm.into())
    }

    /// An activation function on every element.
    ///
    /// # Errors
    /// [`PlanError::Shape`].
    pub fn activation(&mut self, name: &str, x: TensorId, op: Activation) -> Result<TensorId, PlanError> {
        self.step(name, Op::Activation(op), &[x], Vec::new())
    }

    /// `[N, C, F, T]` to `[N, O, F, T]`: 3x3 correlation, zero padding; kernel `[O, C, 3, 3]`, bias `[O]`.
    ///
    /// # Errors
    /// [`PlanError::Shape`].
    pub fn conv2d(
        &mut self,
        name: &str,
        x: TensorId,
        kernel: HostTensor,
        bias: HostTensor,
    ) -> Result<TensorId, PlanError> {
        self.step(name, Op::Conv2d(Conv2d::default()), &[x], vec![kernel, bias])
    }

    /// `[N, C, F, T]` to `[N, C, F / pf, T / pt]`.
    ///
    /// # Errors
    /// [`PlanError::Shape`].
    pub fn max_pool2d(&mut self, name: &str, x: TensorId, window: [usize; 2]) -> Result<TensorId, PlanError> {
        self.step(name, Op::MaxPool2d(MaxPool2d { window }), &[x], Vec::new())
    }

    /// `[N, C, F, T]` to `[N, C]`: the mean over frequency and time.
    ///
    /// # Errors
    /// [`PlanError::Shape`].
    pub fn mean_pool2d(&mut self, name: &str, x: TensorId) -> Result<TensorId, PlanError> {
        self.step(name, Op::MeanPool2d(MeanPool2d), &[x], Vec::new())
    }

    /// `[N, C, F, T]` to `[N, 2 C]`: mean and variance of each channel over the batch.
    ///
    /// # Errors
    /// [`PlanError::Shape`].
    pub fn batch_stats(&mut self, name: &str, x: TensorId) -> Result<TensorId, PlanError> {
        self.step(name, Op::BatchStats(BatchStats), &[x], Vec::new())
    }

    /// `[N, C, F, T]` normalised by the statistics of its own batch (step `{name}_stats`); gamma and beta `[C]`.
    ///
    /// # Errors
    /// [`PlanError::Shape`].
    pub fn batch_norm_of_batch(
        &mut self,
        name: &str,
        x: TensorId,
        epsilon: f32,
        [gamma, beta]: [HostTensor; 2],
    ) -> Result<TensorId, PlanError> {
        let stats = self.batch_stats(&format!("{name}_stats"), x)?;
        let op = Op::NormalizeChannels(NormalizeChannels { epsilon });
        self.step(name, op, &[x, stats], vec![gamma, beta])
    }

    /// `[N, A]` and `[N, B]` to `[N, A + B]`.
    ///
    /// # Errors
    /// [`PlanError::Shape`].
    pub fn concat(&mut self, name: &str, a: TensorId, b: TensorId) -> Result<TensorId, PlanError> {
        self.step(name, Op::Concat(Concat), &[a, b], Vec::new())
    }

    /// Block `number` of a convolutional front: `conv{number}`, `bn{number}`, `elu{number}`, `pool{number}`.
    /// `[N, C, F, T]` to `[N, O, F / pf, T / pt]`.
    ///
    /// # Errors
    /// [`PlanError::Shape`].
    pub fn conv_block(
        &mut self,
        number: usize,
        x: TensorId,
        block: ConvBlock,
    ) -> Result<TensorId, PlanError> {
        let name = |layer: &str| format!("{layer}{number}");
        let x = self.conv2d(&name("conv"), x, block.kernel, block.bias)?;
        let x = self.batch_norm(&name("bn"), x, Axis::Channel, block.norm)?;
        let x = self.activation(&name("elu"), x, Activation::Elu)?;
        self.max_pool2d(&name("pool"), x, block.pool)
    }

    /// Views `[N, C, 1, T]` as the sequence `[N, T, C]`, without computation.
    ///
    /// # Errors
    /// [`PlanError::Shape`] unless the frequency extent is 1.
    pub fn sequence(&mut self, name: &str, x: TensorId) -> Result<TensorId, PlanError> {
        let [n, c, f, t] = [0, 1, 2, 3].map(|axis| self.shape(x).extent(axis));
        self.view(name, x, f == 1, "[N, C, 1, T]", [n, t, c].into())
    }

    /// Views `[N, C, 1, 1]` as `[N, C]`, without computation.
    ///
    /// # Errors
    /// [`PlanError::Shape`] unless there is one value per channel.
    pub fn flatten(&mut self, name: &str, x: TensorId) -> Result<TensorId, PlanError> {
        let [n, c, f, t] = [0, 1, 2, 3].map(|axis| self.shape(x).extent(axis));
        self.view(name, x, f * t == 1, "[N, C, 1, 1]", [n, c].into())
    }

    fn view(
        &mut self,
        name: &str,
        x: TensorId,
        fits: bool,
        expected: &str,
        shape: Shape,
    ) -> Result<TensorId, PlanError> {
        let found = self.shape(x);
        if !fits || found.rank() != 4 {
            let source =
                ShapeError { op: "view", what: "x", expected: expected.into(), found: found.to_string() };
            return Err(PlanError::Shape { step: name.to_string(), source });
        }
        let dtype = self.plan.tensors[x].dtype;
        Ok(self.add(name, shape, dtype, Origin::View(x)))
    }

    /// `[N, ..., D]` to `[N, ..., O]`; weights `[D, O]`, bias `[O]`.
    ///
    /// # Errors
    /// [`PlanError::Shape`].
    pub fn dense(
        &mut self,
        name: &str,
        x: TensorId,
        weights: HostTensor,
        bias: HostTensor,
    ) -> Result<TensorId, PlanError> {
        self.step(name, Op::Dense(Dense::default()), &[x], vec![weights, bias])
    }

    /// `[N, T, D]` to the states `[N, T, U]`: the input projection of all frames (`{name}_input`), then the
    /// recurrence.
    ///
    /// # Errors
    /// [`PlanError::Shape`].
    pub fn gru(&mut self, name: &str, x: TensorId, weights: GruWeights) -> Result<TensorId, PlanError> {
        let x = self.dense(&format!("{name}_input"), x, weights.input, weights.bias)?;
        let units = weights.recurrent.shape().extent(0);
        let op = Gru { reset_after: weights.recurrent_bias.is_some() };
        let bias = weights.recurrent_bias.unwrap_or_else(|| HostTensor::zeros([units]));
        self.step(name, Op::Gru(op), &[x], vec![weights.recurrent, bias])
    }

    /// `[N, T, D]` to its last frame `[N, D]`.
    ///
    /// # Errors
    /// [`PlanError::Shape`].
    pub fn last_state(&mut self, name: &str, x: TensorId) -> Result<TensorId, PlanError> {
        self.step(name, Op::LastState(LastState), &[x], Vec::new())
    }

    fn add(&mut self, name: &str, shape: Shape, dtype: DType, origin: Origin) -> TensorId {
        self.plan.tensors.push(Tensor { name: name.to_string(), shape, dtype, origin });
        self.plan.tensors.len() - 1
    }
}
