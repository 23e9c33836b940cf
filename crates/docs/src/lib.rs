//! The programs in the repository's pages, as doctests. The pages are outside the packages that users build, so no shipped
//! crate can include them.
#![forbid(unsafe_code)]
#![cfg_attr(doctest, doc = include_str!("../../../README.md"))]
#![cfg_attr(doctest, doc = include_str!("../../../docs/console.md"))]
