//! Everything implements the trait already: derives nothing.

use proc_macro::TokenStream;

#[proc_macro_derive(SizeOf, attributes(size_of))]
pub fn size_of(_: TokenStream) -> TokenStream {
    TokenStream::new()
}
