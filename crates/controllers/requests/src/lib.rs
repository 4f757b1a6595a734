//! The request crossing on the private side: policy, journal, executors.
