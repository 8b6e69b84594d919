//! A session's input and output at fixed addresses, one pair for each shape, as captured CUDA graphs need: a replay reads and writes
//! where the capture did, so whatever it was not told of it does not see.

use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, NoSelectedOutputs, RunOptions, Session};
use ort::value::{Tensor, TensorRef, TensorValueType};

/// Shapes kept. Rooms send few; what comes beyond is an error, since a capture costs device memory for good.
const SHAPES_MAX: usize = 32;

pub(super) struct FixedBuffers {
    device: AllocationDevice<'static>,
    device_id: i32,
    shapes: Vec<Buffers>,
}

struct Buffers {
    shape: [usize; 4],
    /// Its name.
    output: String,
    host: Tensor<f32>,
    device: Tensor<f32>,
    binding: IoBinding,
    options: RunOptions<NoSelectedOutputs>,
}

impl FixedBuffers {
    /// On the GPU of that number, or in main memory.
    pub fn new(gpu: Option<i32>) -> Self {
        let device = if gpu.is_some() { AllocationDevice::CUDA } else { AllocationDevice::CPU };
        Self { device, device_id: gpu.unwrap_or(0), shapes: Vec::new() }
    }

    /// Runs the session on `input` of `shape`, and answers with the output's shape and values.
    ///
    /// # Errors
    /// What ONNX Runtime says; more than [`SHAPES_MAX`] shapes.
    pub fn run(&mut self, session: &mut Session, shape: [usize; 4], input: &[f32]) -> Result<(Vec<usize>, Vec<f32>), String> {
        let known = self.shapes.iter().position(|buffers| buffers.shape == shape);
        let index = match known {
            Some(index) => index,
            None if self.shapes.len() == SHAPES_MAX => return Err(format!("more than {SHAPES_MAX} input shapes")),
            None => {
                let output = output_shape(session, shape, input).map_err(|error| error.to_string())?;
                let made = self.bind(session, shape, &output).map_err(|error| error.to_string())?;
                self.shapes.push(made);
                self.shapes.len() - 1
            }
        };
        self.shapes[index].run(session, input).map_err(|error| error.to_string())
    }

    fn bind(&self, session: &Session, shape: [usize; 4], output: &[usize]) -> ort::Result<Buffers> {
        let memory = MemoryInfo::new(self.device.clone(), self.device_id, AllocatorType::Device, MemoryType::Default)?;
        let allocator = Allocator::new(session, memory)?;
        let host = Tensor::<f32>::new(&Allocator::default(), shape)?;
        let device = Tensor::<f32>::new(&allocator, shape)?;
        let answer = Tensor::<f32>::new(&allocator, output.to_vec())?;
        let mut binding = session.create_binding()?;
        binding.bind_input(session.inputs()[0].name(), &device)?;
        binding.bind_output(session.outputs()[0].name(), answer)?;
        let mut options = RunOptions::new()?;
        // One captured graph for each shape.
        options.set("gpu_graph_id", (self.shapes.len() + 1).to_string())?;
        Ok(Buffers { shape, output: session.outputs()[0].name().to_owned(), host, device, binding, options })
    }
}

/// By a run that is not captured.
fn output_shape(session: &mut Session, shape: [usize; 4], input: &[f32]) -> ort::Result<Vec<usize>> {
    let mut options = RunOptions::new()?;
    options.set("gpu_graph_id", "-1")?;
    let outputs = session.run_with_options(ort::inputs![TensorRef::from_array_view((shape, input))?], &options)?;
    let (shape, _) = outputs[0].try_extract_tensor::<f32>()?;
    Ok(plain(shape))
}

fn plain(shape: &[i64]) -> Vec<usize> {
    shape.iter().map(|side| usize::try_from(*side).unwrap_or(0)).collect()
}

impl Buffers {
    fn run(&mut self, session: &mut Session, input: &[f32]) -> ort::Result<(Vec<usize>, Vec<f32>)> {
        self.host.extract_tensor_mut().1.copy_from_slice(input);
        self.host.copy_into(&mut self.device)?;
        let mut outputs = session.run_binding_with_options(&self.binding, &self.options)?;
        let answer = outputs.remove(&self.output).ok_or_else(|| ort::Error::new("the bound output is not among the answers"))?;
        let answer = answer.downcast::<TensorValueType<f32>>()?.to(AllocationDevice::CPU, 0)?;
        let (shape, values) = answer.extract_tensor();
        Ok((plain(shape), values.to_vec()))
    }
}
