//! One room: its sources, its policies, the one task that changes them.
