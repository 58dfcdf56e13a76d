//! Linker settings of the shared library.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let os = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    match os.as_str() {
        // Threads of the listener may still run when the VM lets go of the
        // library: it stays mapped, and with it every count.
        "linux" | "freebsd" => println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete"),
        // The VM's functions are found when the library is loaded.
        "macos" => println!("cargo::rustc-cdylib-link-arg=-Wl,-undefined,dynamic_lookup"),
        _ => {}
    }
}
