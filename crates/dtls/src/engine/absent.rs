//! A build without the library: terms cannot be loaded, so nothing else is ever made.

use std::rc::Rc;

use super::Progress;
use crate::record::CID_LEN;
use crate::{DtlsError, Terms};

pub(crate) fn check(_: &Terms) -> Result<(), DtlsError> {
    Err(DtlsError::NotBuilt)
}

pub(crate) const fn no_randomness() -> DtlsError {
    DtlsError::NotBuilt
}

#[derive(Debug)]
pub(crate) enum Context {}

impl Context {
    pub(crate) fn new(_: &Terms) -> Result<Rc<Self>, DtlsError> {
        Err(DtlsError::NotBuilt)
    }

    pub(crate) const fn asks_for_key(&self) -> bool {
        match *self {}
    }

    pub(crate) const fn lacks_key(&self, _: &[u8]) -> bool {
        match *self {}
    }

    pub(crate) const fn take_output(&self) -> Vec<Vec<u8>> {
        match *self {}
    }
}

#[derive(Debug)]
pub(crate) enum Session {}

impl Session {
    pub(crate) fn open(context: &Rc<Context>, _: [u8; CID_LEN]) -> Result<Self, DtlsError> {
        match **context {}
    }

    pub(crate) fn thaw(context: &Rc<Context>, _: &[u8]) -> Result<Self, DtlsError> {
        match **context {}
    }

    pub(crate) const fn freeze(&mut self) -> Option<Box<[u8]>> {
        match *self {}
    }

    pub(crate) fn feed(&mut self, _: u64, _: &[u8], _: &mut dyn FnMut(&[u8])) -> Progress {
        match *self {}
    }

    pub(crate) fn read(&mut self, _: &mut dyn FnMut(&[u8])) -> Progress {
        match *self {}
    }

    pub(crate) const fn handle_timeout(&mut self, _: u64) -> Progress {
        match *self {}
    }

    pub(crate) fn give_key(&mut self, _: Box<[u8]>, _: &[u8]) {
        match *self {}
    }

    pub(crate) const fn seal(&mut self, _: u64, _: &[u8]) -> bool {
        match *self {}
    }

    pub(crate) const fn close(&mut self) {
        match *self {}
    }

    pub(crate) const fn take_identity(&mut self) -> Option<Box<[u8]>> {
        match *self {}
    }

    pub(crate) const fn has_connection_id(&self) -> bool {
        match *self {}
    }
}
