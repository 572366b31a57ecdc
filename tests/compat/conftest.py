"""Everything here sees the package as environments do: as `nemo_gym`."""

from nemo_gym_lite import alias

alias.install()
