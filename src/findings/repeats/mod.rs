//! Repeat visits: what labels of one star scatter by from visit to visit, along SNR, beside the errors that are claimed for them.
//!
//! Visits of one star have the same labels, whatever these are: how far they scatter is precision, measured without a single
//! catalogue label. What a model gets wrong in every visit alike does not show. Calibrated errors come from stars held out, and
//! hold both; so repeat visits scatter less than calibrated errors say, by as much as the model is wrong beyond noise, and grow
//! with noise as they do. Formal errors claim noise alone: repeat visits scatter by them where noise is what the errors of the flux
//! say, more where it is not (noise correlated between pixels, sky, velocities and line widths that change from night to night),
//! and less where a model's own scatter, the same in all visits of a star, counts as noise in them.

pub mod deviations;
pub mod measure;
pub mod outcome;
pub mod table;
pub mod visits;
