//! The survey as SDSS-V would publish it (DR19): apStar files of reduction 1.3, Astra's mwmStar and mwmVisit, and the table of
//! stars that Astra makes with ASPCAP.
//!
//! A star's second spectrum, in another field, is one that DR17 had already: SDSS-V has one coadd of a star at a telescope.

pub(super) mod apstar;
pub(super) mod archive;
mod layouts;
pub(super) mod mwm;
pub(super) mod summary;
mod table;
