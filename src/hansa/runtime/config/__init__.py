"""The two files of settings, the Director's and the Envoy's: read strictly, and written with an explanation of every key."""

from hansa.core.units import parse_duration, parse_size
from hansa.runtime.config.address import is_loopback, parse_address, parse_dialled, parse_host, parse_url
from hansa.runtime.config.choices import Environment, LogLevel
from hansa.runtime.config.director import DirectorApproval, DirectorConfig, DirectorLimits, template_director
from hansa.runtime.config.envoy import EnvoyApproval, EnvoyConfig, EnvoyLimits, Leaves, ShardConfig, template_envoy

__all__ = [
    "DirectorApproval",
    "DirectorConfig",
    "DirectorLimits",
    "Environment",
    "EnvoyApproval",
    "EnvoyConfig",
    "EnvoyLimits",
    "Leaves",
    "LogLevel",
    "ShardConfig",
    "is_loopback",
    "parse_address",
    "parse_dialled",
    "parse_duration",
    "parse_host",
    "parse_size",
    "parse_url",
    "template_director",
    "template_envoy",
]
