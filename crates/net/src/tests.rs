//! Two and more real endpoints on the loopback interface.
