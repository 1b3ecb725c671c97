//! Weights from data: closed-form training, gradient descent, and the folders trained models are kept in.

pub mod augment;
mod average;
pub mod cannon_config;
pub mod cannon_descent;
mod cannon_objective;
pub mod checkpoint;
pub mod closed_form;
pub mod continuum_search;
pub mod descent;
mod descent_state;
pub mod emulator;
mod event_file;
mod event_values;
pub mod import;
pub mod label_regression;
pub mod loss;
pub mod network_checkpoint;
pub mod observer;
pub mod optimizer;
pub mod payne_checkpoint;
mod pixel_block;
pub mod principal_components;
pub mod ridge;
pub mod ridge_checkpoint;
mod scatter_bracket;
pub mod tensorboard;
