//! Asynchronous work in `drop`, which may run inside a runtime or outside of any.

use std::future::Future;

/// Runs a future to its end on a thread and a runtime of its own, and waits for it.
pub(super) fn on_own_thread(future: impl Future<Output = ()> + Send + 'static) {
    let thread = std::thread::spawn(move || {
        if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
            runtime.block_on(future);
        }
    });
    let _ = thread.join();
}
