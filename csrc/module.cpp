#include "bind.hpp"

PYBIND11_MODULE(_core, module) {
    module.doc() =
        "The C++ core of kptool; use kptool.heatmaps and kptool.datasets, which check what they are given.";
    kptool::register_render(module);
    kptool::register_decode(module);
    kptool::register_parse(module);
    kptool::register_checksum(module);
}
