//! Coverage: what viewers could see of faces that the reference finds, on a folder of clips and on harder variants of each.

pub mod baseline;
pub mod reference;
pub mod score;
pub mod variants;
