//! Tells the linker about Node-API's symbols.
fn main() {
    napi_build::setup();
}
