//! Execution providers: which one a session runs on, and why not the better one.
//!
//! `auto` tries TensorRT, then CUDA, then the CPU. `is_available()` of a GPU build is true on a machine without CUDA, so a provider is
//! probed by registering it; a failure names the library that was missing and the next is tried. The CPU is always there.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use ort::session::Session;
use ort::session::builder::SessionBuilder;

use super::InferError;
use super::runtime::Runtime;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    TensorRt,
    Cuda,
    Cpu,
}

impl Provider {
    /// Best first.
    pub const ALL: [Provider; 3] = [Provider::TensorRt, Provider::Cuda, Provider::Cpu];

    pub fn is_gpu(self) -> bool {
        self != Provider::Cpu
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Provider::TensorRt => "tensorrt",
            Provider::Cuda => "cuda",
            Provider::Cpu => "cpu",
        })
    }
}

/// What the configuration asks for: `auto`, `tensorrt`, `cuda` or `cpu`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProviderChoice {
    #[default]
    Auto,
    Only(Provider),
}

impl ProviderChoice {
    /// What to try, in order.
    pub fn candidates(self) -> Vec<Provider> {
        match self {
            ProviderChoice::Auto => Provider::ALL.to_vec(),
            ProviderChoice::Only(provider) => vec![provider],
        }
    }
}

impl FromStr for ProviderChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(ProviderChoice::Auto);
        }
        let found = Provider::ALL.into_iter().find(|provider| provider.to_string() == text);
        found.map(ProviderChoice::Only).ok_or_else(|| format!("\"{text}\" is no execution provider; expected auto, tensorrt, cuda or cpu"))
    }
}

/// A provider that was passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    pub provider: Provider,
    pub why_not: String,
}

/// What `scrim doctor` prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderReport {
    pub chosen: Provider,
    /// Better ones, in the order tried.
    pub tried: Vec<Tried>,
}

/// What the GPU providers are told.
#[derive(Clone, Debug)]
pub struct GpuOptions {
    pub device: i32,
    /// TensorRT's engines and timings; building one takes minutes, so it is kept.
    pub cache: PathBuf,
}

/// Batch sizes TensorRT's profile is built for, and to which a batch is filled up there, so that few shapes occur.
pub const GPU_BATCHES: [usize; 3] = [1, 4, 8];

/// The largest batch a GPU session accepts.
pub const GPU_BATCH_MAX: usize = GPU_BATCHES[GPU_BATCHES.len() - 1];

/// Shape profile of a model's input, for TensorRT.
#[derive(Clone, Debug)]
pub struct Profile {
    pub input: String,
    /// Channels, rows, columns of the smallest, the usual and the largest input, in the model's layout.
    pub shapes: [[usize; 3]; 3],
}

impl Profile {
    #[cfg(any(feature = "gpu", test))]
    fn shape(&self, i: usize) -> String {
        let [a, b, c] = self.shapes[i];
        format!("{}:{}x{a}x{b}x{c}", self.input, GPU_BATCHES[i])
    }
}

/// Finds the provider a session would run on, by registering each candidate.
///
/// # Errors
/// When the one that was asked for by name can't be used.
pub fn probe(runtime: &Runtime, choice: ProviderChoice, gpu: &GpuOptions) -> Result<ProviderReport, InferError> {
    first_that(choice, |provider| {
        let builder = Session::builder(runtime.environment()).map_err(|error| error.to_string())?;
        register(builder, provider, gpu, None).map(|_| ())
    })
    .map(|(report, ())| report)
}

/// The first candidate for which `open` succeeds, with what it made.
pub(super) fn first_that<T>(
    choice: ProviderChoice,
    mut open: impl FnMut(Provider) -> Result<T, String>,
) -> Result<(ProviderReport, T), InferError> {
    let mut tried = Vec::new();
    for provider in choice.candidates() {
        match open(provider) {
            Ok(made) => return Ok((ProviderReport { chosen: provider, tried }, made)),
            Err(why_not) => {
                tracing::info!(%provider, why_not, "execution provider passed over");
                tried.push(Tried { provider, why_not });
            }
        }
    }
    // The last one tried is the one asked for, or the CPU, which fails only with its model.
    Err(tried.pop().map_or_else(
        || InferError::Provider(Tried { provider: Provider::Cpu, why_not: "nothing was tried".to_owned() }),
        InferError::Provider,
    ))
}

/// Registers one provider with a session to be; the error says what was missing.
pub(super) fn register(
    builder: SessionBuilder,
    provider: Provider,
    gpu: &GpuOptions,
    profile: Option<&Profile>,
) -> Result<SessionBuilder, String> {
    match provider {
        Provider::Cpu => Ok(builder),
        Provider::TensorRt | Provider::Cuda => register_gpu(builder, provider, gpu, profile).map_err(|error| explain(&error)),
    }
}

#[cfg(not(feature = "gpu"))]
fn register_gpu(_: SessionBuilder, _: Provider, _: &GpuOptions, _: Option<&Profile>) -> Result<SessionBuilder, String> {
    Err("this build has no GPU support; build with `--features gpu`".to_owned())
}

#[cfg(feature = "gpu")]
fn register_gpu(
    builder: SessionBuilder,
    provider: Provider,
    gpu: &GpuOptions,
    profile: Option<&Profile>,
) -> Result<SessionBuilder, String> {
    use ort::ep;

    let cache = gpu.cache.display();
    let dispatch = match provider {
        Provider::TensorRt => {
            let mut options = ep::TensorRT::default()
                .with_device_id(gpu.device)
                .with_fp16(true)
                .with_engine_cache(true)
                .with_engine_cache_path(&cache)
                .with_timing_cache(true)
                .with_timing_cache_path(&cache)
                .with_cuda_graph(true);
            if let Some(profile) = profile {
                options = options
                    .with_profile_min_shapes(profile.shape(0))
                    .with_profile_opt_shapes(profile.shape(1))
                    .with_profile_max_shapes(profile.shape(2));
            }
            std::fs::create_dir_all(&gpu.cache).map_err(|error| format!("the engine cache {cache} cannot be made: {error}"))?;
            options.build()
        }
        _ => ep::CUDA::default().with_device_id(gpu.device).build(),
    };
    builder.with_execution_providers([dispatch.error_on_failure()]).map_err(|error| error.to_string())
}

/// The missing library first, where the message names one.
fn explain(message: &str) -> String {
    match missing_library(message) {
        Some(library) => format!("{library} is missing ({})", message.trim()),
        None => message.trim().to_owned(),
    }
}

/// The library the dynamic loader did not find.
fn missing_library(message: &str) -> Option<&str> {
    let (before, _) = message.split_once(": cannot open shared object file")?;
    before.rsplit(char::is_whitespace).next().filter(|name| name.contains(".so"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_named() {
        let message = "Failed to load library libonnxruntime_providers_cuda.so with error: libcublasLt.so.13: cannot open shared object file: No such file or directory";
        assert_eq!(missing_library(message), Some("libcublasLt.so.13"));
        assert!(explain(message).starts_with("libcublasLt.so.13 is missing"));
        assert_eq!(
            explain("CUDA execution provider is not enabled in this build. "),
            "CUDA execution provider is not enabled in this build."
        );
    }

    #[test]
    fn auto_goes_on_to_the_first_that_works_and_says_why() {
        let (report, made) = first_that(ProviderChoice::Auto, |provider| match provider {
            Provider::TensorRt => Err("libnvinfer.so.10 is missing".to_owned()),
            other => Ok(other),
        })
        .unwrap();
        assert_eq!((report.chosen, made), (Provider::Cuda, Provider::Cuda));
        assert_eq!(report.tried, [Tried { provider: Provider::TensorRt, why_not: "libnvinfer.so.10 is missing".to_owned() }]);
    }

    #[test]
    fn a_named_provider_is_not_replaced() {
        let error = first_that(ProviderChoice::Only(Provider::Cuda), |_| Err::<(), _>("no device".to_owned())).unwrap_err();
        assert_eq!(error.to_string(), "execution provider cuda was asked for but cannot be used: no device");
    }

    #[test]
    fn choices_are_read_by_name() {
        assert_eq!("auto".parse(), Ok(ProviderChoice::Auto));
        for provider in Provider::ALL {
            assert_eq!(provider.to_string().parse(), Ok(ProviderChoice::Only(provider)));
        }
        assert!("gpu".parse::<ProviderChoice>().unwrap_err().contains("tensorrt"));
    }

    #[test]
    fn profile_spans_the_batch_sizes() {
        let profile = Profile { input: "images".to_owned(), shapes: [[3, 32, 32], [3, 192, 320], [3, 320, 320]] };
        assert_eq!([0, 1, 2].map(|i| profile.shape(i)), ["images:1x3x32x32", "images:4x3x192x320", "images:8x3x320x320"]);
    }
}
