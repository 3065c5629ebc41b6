//! Tests that need no network, no broker and no store: doubles in memory, under paused time.

mod queues;
