//! The demo shop: twelve small services with scripted faults, the load on them, and their mesh documents.
//!
//! It exists so that everyone can watch a cascade on a laptop, made of real processes and real sockets. [`shop`] says
//! who calls whom; [`service`] is one running service, which spends its time asleep instead of burning the CPU;
//! [`fault`] breaks it on command; [`load`] is the open-loop traffic; [`ports`] says who listens where; and
//! [`mesh_document`] writes what the sidecars read. Starting and ending the processes is the command line's business.

pub mod caller;
pub mod fault;
pub mod load;
pub mod mesh_document;
pub mod ports;
pub mod service;
pub mod shop;
