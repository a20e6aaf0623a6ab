//! What a type must not be, asked of the compiler.

/// Does not compile if the type has one of the traits: then two implementations fit the call, and none is the one.
#[allow(unused_macros)]
macro_rules! assert_is_not {
    ($Type:ty: $($Trait:path),+) => {
        const _: fn() = || {
            trait Fits<Why> {
                fn call() {}
            }
            impl<T: ?Sized> Fits<()> for T {}
            $({
                struct Because;
                impl<T: ?Sized + $Trait> Fits<Because> for T {}
            })+
            <$Type as Fits<_>>::call();
        };
    };
}
#[allow(unused_imports)]
pub(crate) use assert_is_not;
