//! Tests of the element. They need GStreamer's plugins (Debian: gstreamer1.0-plugins-base gstreamer1.0-tools).

mod common;
mod element;
mod pipelines;
