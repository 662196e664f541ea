//! Discovery by multicast on the loopback interface.
