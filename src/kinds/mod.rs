//! The kinds of models: what each is asked for, and the one place that says which there are.
//!
//! [`kind`] says what a kind must be able to do, [`registry`] lists those there are, [`fold`] is what becomes of every model on a
//! fold. One file for each kind tells the rest.

mod bad_fit;
mod cannon;
mod cannon_training;
pub mod combination;
pub mod combination_report;
pub mod context;
mod fill;
pub mod fold;
mod held_out;
pub mod kind;
mod network;
mod nuisance_trial;
mod payne;
pub mod place;
pub mod prelude;
pub mod registry;
mod ridge;
