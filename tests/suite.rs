//! All integration tests, in one binary: linking is the slow part of a test run.

mod suite {
    mod floors;
    mod house;
}
