//! End-to-end tests of the workspace, in one binary.

#[cfg(test)]
mod canary;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod cli_check;
#[cfg(test)]
mod cli_hostile;
#[cfg(test)]
mod cli_run;
#[cfg(test)]
mod cli_trial;
#[cfg(test)]
mod cli_workers;
#[cfg(test)]
mod client;
#[cfg(test)]
mod e2e;
#[cfg(test)]
mod kinetic_sim;
#[cfg(test)]
mod model;
#[cfg(test)]
mod model_seeds;
#[cfg(test)]
mod odata;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod python;
#[cfg(test)]
mod report;
#[cfg(test)]
mod service;
#[cfg(test)]
mod source;
#[cfg(test)]
mod staging;
#[cfg(test)]
mod tableau_client;
#[cfg(test)]
mod tsc;
