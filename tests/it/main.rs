//! Integration tests: the program from outside, the layers from above, and real data where it is to be had.

mod archive;
mod backends;
mod cannon_descent;
mod calibration;
mod cli;
mod closed_form;
mod compare;
mod emulator;
mod experiments;
mod fetch;
mod fitting;
mod house;
mod labelling;
mod latent;
mod mock;
mod networks;
mod outliers;
mod posterior;
mod posterior_cli;
mod real_data;
mod regression;
mod support;
mod sweep;
mod tensorboard;
mod unsampled;
