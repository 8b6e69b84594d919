//! Inference: the `Detector` seam, the batcher, one file per kind of model. The only importer of `ort`.
