"""At toy size: ./run_single_ofat.sh ofat_lr0.001_bs8_rmsprop_ep100 --debug"""

from .._toy import toy

globals().update(toy("ofat_lr0.001_bs8_rmsprop_ep100"))
